"""Pages of HTML that stand alone: text escaped, drawings as SVG, no script, nothing asked of any server."""
