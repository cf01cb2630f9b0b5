"""One file for each step: `<number>_<pre|post>_<what>`; pre runs before the new code starts, post after."""
