"""Gates, the registry of versions and aliases, the model card. Does not know how a model was made."""
