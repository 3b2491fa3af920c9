"use strict";
// The page again whenever the state index or the minute has moved; ages of heartbeats, which move without it, in between.
(() => {
  const live = document.getElementById("live"), main = document.getElementById("main");
  let tag = "", misses = 0;
  const say = (text, lost) => { live.textContent = text; live.className = lost ? "lost" : ""; };
  const take = text => {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    const held = document.activeElement && document.activeElement.getAttribute("aria-label");
    main.replaceChildren(...fresh.childNodes);
    if (held) [...main.querySelectorAll("[aria-label]")].find(each => each.getAttribute("aria-label") === held)?.focus();
  };
  const beats = async () => {
    const { threads } = await (await fetch("/thread-heart-beats.json", { cache: "no-store" })).json();
    for (const row of document.querySelectorAll("#heartbeats tbody tr")) {
      const beat = threads.find(each => each.name === row.cells[0].textContent);
      if (beat) row.cells[2].textContent = beat.age;
    }
  };
  const turn = async () => {
    try {
      const answer = await fetch("/", { cache: "no-store", headers: { Accept: "text/html", "If-None-Match": tag } });
      if (answer.status === 200) { tag = answer.headers.get("ETag"); take(await answer.text()); }
      else if (answer.status !== 304) throw new Error(answer.status);
      await beats();
      misses = 0;
      say("live, " + new Date().toLocaleTimeString());
    } catch (error) { if (++misses > 1) say("no answer since a while: what you see is old", true); }
    setTimeout(turn, document.hidden ? 30000 : 2000);
  };
  turn();
})();
