// Where the score comes from has changed: the overlay is drawn anew.
watch("value", () => requestAnimationFrame(() => window.metaembed.tell("map")));
