// Sort, filter and unfold tables, open the runs behind a row, save plots and tables as files.
const AT_FIRST = 25;
const collator = new Intl.Collator(undefined, { numeric: true });
const data = JSON.parse(document.getElementById("page-data").textContent);

function make(name, text, ...children) {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
}

// Offer text as a file; what is in this page needs no server.
function save(name, type, text) {
  const link = make("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function csv(lines) {
  const cell = (value) => {
    let text = String(value ?? "");
    // as in the files: text that a spreadsheet would evaluate begins with an apostrophe
    if (/^[=+\-@\t\r]/.test(text) && Number.isNaN(Number(text))) text = `'${text}`;
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return lines.map((line) => line.map(cell).join(",") + "\n").join("");
}

// Click a column's name to sort by it, again to reverse the order. Empty cells stay last.
function sort(table, head) {
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows].map((row) => {
    const cell = row.cells[head.cellIndex];
    return [cell.dataset.sort ?? cell.textContent, row];
  });
  const numeric = rows.every(([key]) => key === "" || !Number.isNaN(Number(key)));
  rows.sort(([a], [b]) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return sign * (numeric ? Number(a) - Number(b) : collator.compare(a, b));
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

// The rows that the filter leaves, as the files have them: numbers with all digits, and the ends of
// intervals in columns of their own.
function lines(table) {
  const heads = [...table.tHead.rows[0].cells];
  const wide = (head, value, low, high) => "interval" in head.dataset ? [value, low, high] : [value];
  const names = heads.flatMap(({ dataset: { column } }, place) =>
    wide(heads[place], column, `${column}_low`, `${column}_high`));
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) =>
    [...row.cells].flatMap(({ textContent, dataset: { sort, low, high } }, place) =>
      wide(heads[place], sort ?? textContent, low, high)));
  return [names, ...rows];
}

// Show the rows that contain every word, at first only some of many. Returns their number.
function show(table, words, whole) {
  let found = 0;
  for (const row of table.tBodies[0].rows) {
    row.text ??= [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => row.text.includes(word));
    found += !row.hidden;
    row.classList.toggle("later", !whole && found > AT_FIRST);
  }
  return found;
}

// The runs behind a row, as a row below it.
function details(columns, one) {
  const head = make("tr", "", ...one.heads.map((text) => make("th", text)));
  const rows = one.rows.map((row) => make("tr", "", ...row.map((text) => make("td", text))));
  const table = make("table", "", make("thead", "", head), make("tbody", "", ...rows));
  const box = make("td", "", table);
  if (one.more) box.append(make("p", `${one.more} more: see rows.csv`));
  if (one.command) box.append(make("p", "Command"), make("pre", one.command));
  for (const [run, lines] of one.printed) {
    box.append(make("p", `Last lines of standard error, ${run}`), make("pre", lines));
  }
  box.colSpan = columns;
  const row = make("tr", "", box);
  row.className = "opened";
  return row;
}

function toggle(row, button) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) return row.nextElementSibling.remove();
  const name = row.closest(".table").dataset.table;
  row.after(details(row.cells.length, data.details[name][row.dataset.details]));
}

function close(table) {
  for (const button of table.querySelectorAll("[aria-expanded=true]")) {
    toggle(button.closest("tr"), button);
  }
}

for (const part of document.querySelectorAll(".table")) {
  const table = part.querySelector("table"), count = table.tBodies[0].rows.length;
  const box = part.querySelector("input"), count_text = part.querySelector("output");
  const more = part.querySelector(".more"), columns = part.querySelector(".columns");
  const file = part.querySelector(".csv");
  let whole = false;
  const update = () => {
    close(table);
    const words = box ? box.value.toLowerCase().split(/\s+/) : [];
    const found = show(table, words, whole);
    if (count_text) count_text.value = words.join("") ? `${found} of ${count} rows` : "";
    more.hidden = whole || found <= AT_FIRST;
    more.textContent = `Show all ${found} rows`;
  };
  for (const row of table.querySelectorAll("[data-details]")) {
    const button = make("button"), cell = row.cells[0];
    button.type = "button";
    button.className = "open";
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-label", `Runs of ${cell.textContent}`);
    cell.prepend(button);
  }
  table.tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("[data-details]");
    if (!row || String(getSelection())) return;
    toggle(row, row.querySelector(".open"));
  });
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    close(table);
    sort(table, button.parentElement);
    update();
  });
  if (columns) {
    const text = columns.textContent;
    columns.hidden = false;
    columns.addEventListener("click", () => {
      const all = part.classList.toggle("all-columns");
      columns.setAttribute("aria-pressed", String(all));
      columns.textContent = all ? "Fewer columns" : text;
    });
  }
  file.hidden = false;
  file.addEventListener("click", () => {
    close(table);
    save(`${part.dataset.table}.csv`, "text/csv", csv(lines(table)));
  });
  box?.addEventListener("input", update);
  more.addEventListener("click", () => { whole = true; update(); });
  update();
}

// On paper nothing can be unfolded: sentences and the meaning of columns are printed open.
let closed = [];
addEventListener("beforeprint", () => {
  closed = [...document.querySelectorAll("details.rest:not([open]), details.caption:not([open])")];
  for (const one of closed) one.open = true;
});
addEventListener("afterprint", () => { for (const one of closed) one.open = false; });

for (const figure of document.querySelectorAll("figure[id^=plot-]")) {
  const name = figure.id.slice("plot-".length);
  for (const button of figure.querySelectorAll("button")) button.hidden = false;
  figure.querySelector(".svg").addEventListener("click", () => {
    const copy = figure.querySelector("svg").cloneNode(true);
    copy.style.color = "#1a1a19";
    save(`${name}.svg`, "image/svg+xml", new XMLSerializer().serializeToString(copy));
  });
  figure.querySelector(".csv")?.addEventListener("click", () => {
    save(`${name}.csv`, "text/csv", csv(data.plots[name]));
  });
}
