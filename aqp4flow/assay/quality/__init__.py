"""What the lab answers for: precision, linearity, limits of detection, carry-over, control charts."""
