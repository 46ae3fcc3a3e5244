"""Wells -> reactivity -> titer."""
