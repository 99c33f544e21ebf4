"""Several backbones, trained in one detector at one budget and compared."""
