"""Reports of an audit: JSON, Markdown, HTML and a registry entry."""
