"""Units of a reference serum: its curve read backwards, and who is parallel to it."""
