"""`held phone`: the reference phone. It knows the server over HTTP alone, and works without it."""
