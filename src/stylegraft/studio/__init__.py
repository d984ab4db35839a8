"""The web app: what `stylegraft studio` serves, thin over the public API. One file a concept; the page is in static/."""
