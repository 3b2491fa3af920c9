"use strict";
// The page again whenever the state index or the minute has moved; ages of heartbeats, which move without it, in between.
(() => {
  const live = document.getElementById("live"), main = document.getElementById("main");
  let tag = "", misses = 0;
  // Only what is lost is read out: the time of day every two seconds would drown the page.
  const say = (text, lost) => {
    live.className = lost ? "lost" : "";
    lost ? live.setAttribute("role", "alert") : live.removeAttribute("role");
    if (live.textContent !== text) live.textContent = text;
  };
  const mark = cell => { cell.className = cell.textContent === "late" ? "lost" : ""; };
  const marks = () => document.querySelectorAll("#heartbeats td:nth-child(2)").forEach(mark);
  const take = text => {
    const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
    const held = document.activeElement && document.activeElement.getAttribute("aria-label");
    main.replaceChildren(...fresh.childNodes);
    marks();
    if (held) [...main.querySelectorAll("[aria-label]")].find(each => each.getAttribute("aria-label") === held)?.focus();
  };
  const beats = async () => {
    const { threads } = await (await fetch("/thread-heart-beats.json", { cache: "no-store" })).json();
    for (const row of document.querySelectorAll("#heartbeats tbody tr")) {
      const beat = threads.find(each => each.name === row.cells[0].textContent);
      if (!beat) continue;
      row.cells[1].textContent = beat.age > Number(row.cells[4].textContent) ? "late" : "on time";
      row.cells[2].textContent = beat.age;
    }
    marks();
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
