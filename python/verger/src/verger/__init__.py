"""verger's Python side."""
