"""From a source to windows of face crops: pixels in, pixels out. Nothing here knows a model."""
