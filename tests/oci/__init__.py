"""The images\x27 room."""
