"""The artifact: manifest, audit, stages, the one path from rows to answers. Does not know how models are trained."""
