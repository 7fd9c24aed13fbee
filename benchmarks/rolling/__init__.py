"""Routers and Tritons restarted one after another under load: nobody may notice."""
