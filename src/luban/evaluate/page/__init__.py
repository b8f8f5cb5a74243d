"""The report as a page: what each section says, and its figures as inline SVG. Reads records, measures nothing."""
