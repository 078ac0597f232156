"""The clip that the project makes for itself."""
