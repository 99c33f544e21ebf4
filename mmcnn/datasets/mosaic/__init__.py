"""Mixed images: planned at random (plan, tiles), read only as far as visible, and drawn (render)."""
