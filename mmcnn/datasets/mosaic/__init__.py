"""Images mixed from several: planned at random (plan, tiles), then read no further than seen, and drawn (render)."""
