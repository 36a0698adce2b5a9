"""The pages that people look at: each tells a read model of `ml.overview` as HTML with SVG pictures, and keeps no state.

A page loads nothing from elsewhere. Everything that a template shows is text and escaped; only a `Drawing` is markup.
"""
