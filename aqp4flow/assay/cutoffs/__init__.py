"""Cut-offs: whose sera, which rule, how sure."""
