"""The processes of a server: one, or several behind one socket. Knows no protocol's meaning."""
