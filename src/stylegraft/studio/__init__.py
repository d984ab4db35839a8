"""The web app: what `stylegraft studio` serves, thin over the public API; the page itself is in static/."""
