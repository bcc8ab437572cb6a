// Only in the report of a study that is running: loads the page again as runs end. Where it was
// scrolled to, what is open, filters and the order of tables stay; nothing happens while its reader
// types or has marked text, or cannot see it.
{
  const line = document.getElementById("live");
  const key = `live ${location.pathname}`;
  const all = (selector) => [...document.querySelectorAll(selector)];

  // Parts by their text, and by their number among those with the same text.
  const named = (parts, text) => {
    const seen = {};
    return parts.map((part) => {
      const name = text(part);
      seen[name] = (seen[name] ?? 0) + 1;
      return [`${name} ${seen[name]}`, part];
    });
  };
  const details = () => named(all("details"), (part) => part.querySelector("summary")?.textContent);
  const filters = () =>
    named(all("input"), (part) => part.closest(".table")?.querySelector("table").id);

  const pressed = (button) =>
    [button.ariaPressed, button.ariaExpanded].includes("true");
  const buttons = () =>
    named(all("[aria-pressed], [aria-expanded]"), (button) => [
      button.closest(".table")?.querySelector("table").id, button.className,
      button.closest("tr")?.dataset.details,
    ].join());

  const keep = () => {
    const sorted = all("th[aria-sort]").map((head) => [
      head.closest("table").id, head.cellIndex, head.getAttribute("aria-sort"),
    ]);
    sessionStorage.setItem(key, JSON.stringify({
      top: scrollY,
      open: details().filter(([, part]) => part.open).map(([name]) => name),
      filters: filters().filter(([, box]) => box.value).map(([name, box]) => [name, box.value]),
      sorted,
      pressed: buttons().filter(([, button]) => pressed(button)).map(([name]) => name),
    }));
  };

  const restore = (kept) => {
    const open = new Set(kept.open), values = new Map(kept.filters);
    for (const [name, part] of details()) part.open ||= open.has(name);
    for (const [name, box] of filters()) {
      if (!values.has(name)) continue;
      box.value = values.get(name);
      box.dispatchEvent(new Event("input", { bubbles: true }));
    }
    for (const [id, column, order] of kept.sorted) {
      const head = document.getElementById(id)?.tHead.rows[0].cells[column];
      for (let clicks = 0; head && head.getAttribute("aria-sort") !== order && clicks < 2; clicks++)
        head.querySelector("button")?.click();
    }
    const press = new Set(kept.pressed);
    for (const [name, button] of buttons())
      if (press.has(name) && !pressed(button)) button.click();
    scrollTo(0, kept.top);
  };

  const busy = () =>
    document.hidden || document.activeElement?.matches("input, select, textarea") ||
    !getSelection().isCollapsed;

  const look = () => {
    if (Date.now() / 1000 > Number(line.dataset.until)) {
      line.textContent = line.dataset.stale;
    } else if (busy()) {
      setTimeout(look, 1000);
    } else {
      keep();
      location.reload();
    }
  };

  if (line.dataset.reload) {
    history.scrollRestoration = "manual";
    const kept = sessionStorage.getItem(key);
    addEventListener("load", () => {
      if (kept) restore(JSON.parse(kept));
      sessionStorage.removeItem(key);
      setTimeout(look, Number(line.dataset.reload) * 1000);
    });
  }
}
