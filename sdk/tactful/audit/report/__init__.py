"""Reports of an audit: signed JSON, HTML, Markdown, registry entry."""
