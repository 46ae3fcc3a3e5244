"""How well the limits hold: plates with planted truth measured by the product, and what came out, counted."""
