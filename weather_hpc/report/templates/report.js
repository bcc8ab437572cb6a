// Sort and filter tables; show long ones in part until the whole is requested.
const AT_FIRST = 200;
const collator = new Intl.Collator(undefined, { numeric: true });

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

for (const part of document.querySelectorAll(".table")) {
  const table = part.querySelector("table"), count = table.tBodies[0].rows.length;
  const box = part.querySelector("input"), count_text = part.querySelector("output");
  const more = part.querySelector(".more");
  let whole = false;
  const update = () => {
    const words = box ? box.value.toLowerCase().split(/\s+/) : [];
    const found = show(table, words, whole);
    if (count_text) count_text.value = words.join("") ? `${found} of ${count} rows` : "";
    more.hidden = whole || found <= AT_FIRST;
    more.textContent = `Show all ${found} rows`;
  };
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    sort(table, button.parentElement);
    update();
  });
  box?.addEventListener("input", update);
  more.addEventListener("click", () => { whole = true; update(); });
  update();
}
