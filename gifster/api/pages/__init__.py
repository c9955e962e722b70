"""The pages: plain forms and plain HTML, which work without JavaScript. The scripts in `static/`
add progress bars, several files at once, and cards that update themselves (`live`)."""
