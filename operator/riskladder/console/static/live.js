// On top of pages that are complete without it: local times, countdowns, and parts that follow what happens.
"use strict";
(() => {
  const two = (n) => String(n).padStart(2, "0");
  const length = (ms) => {
    const s = Math.max(0, Math.round(ms / 1000));
    if (s < 60) return s + " s";
    const m = Math.round(s / 60);
    if (m < 60) return m + " min";
    if (s < 86400) return Math.floor(m / 60) + " h" + (m % 60 ? " " + (m % 60) + " min" : "");
    const h = Math.round(s / 3600);
    return Math.floor(h / 24) + " d" + (h % 24 ? " " + (h % 24) + " h" : "");
  };
  const local = (root) => {
    for (const element of root.querySelectorAll("time[datetime]")) {
      if (element.dataset.local) continue;
      const at = new Date(element.dateTime);
      if (Number.isNaN(at.getTime())) continue;
      element.dataset.local = "1";
      const clock = two(at.getHours()) + ":" + two(at.getMinutes());
      if (element.title) {
        element.title += ", " + clock + " here";
      } else if (at.getTimezoneOffset() !== 0) {
        element.append(" (" + clock + " here)");
      }
    }
  };
  const count = () => {
    for (const element of document.querySelectorAll("[data-due]")) {
      const left = new Date(element.dataset.due) - Date.now();
      element.textContent = left > 0 ? "in " + length(left) : length(-left) + " late";
    }
  };
  const typed = () => [...document.querySelectorAll("#options textarea")].some((area) => area.value.trim());
  const refresh = async () => {
    const answer = await fetch(location.pathname, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const by = fresh.querySelector('[data-live="' + part.dataset.live + '"]');
      if (!by) continue;
      const open = [...part.querySelectorAll("details")].map((d) => d.open);
      part.replaceChildren(...by.childNodes);
      [...part.querySelectorAll("details")].forEach((d, n) => { d.open = open[n] || false; });
    }
    const options = document.querySelector("#options");
    const by = fresh.querySelector("#options");
    if (options && by && !typed() && !options.contains(document.activeElement)) options.replaceChildren(...by.childNodes);
    local(document);
    count();
  };
  local(document);
  count();
  setInterval(count, 1000);
  const follows = document.querySelector("[data-changes]");
  if (follows && window.EventSource) {
    let waiting = null;
    const source = new EventSource(follows.dataset.changes);
    source.addEventListener("changed", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => refresh().catch(() => {}), 300);
    });
  }
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.who[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  for (const form of document.querySelectorAll("form[method=post]")) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
    });
  }
})();
