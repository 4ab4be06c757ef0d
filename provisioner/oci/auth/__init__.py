"""Who we are to a registry: credentials that the user's other tools keep, and the tokens they buy."""
