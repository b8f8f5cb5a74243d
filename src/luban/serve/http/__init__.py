"""What speaks HTTP: sockets, requests, routes, problems, and the description of them. Knows no model's inside."""
