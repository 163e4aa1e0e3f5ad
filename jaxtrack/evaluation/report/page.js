"use strict";
// A click on a column's head sorts the rows: numbers from the highest, words from A; a second click turns it round.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.querySelectorAll("tr.heads th")];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    const note = head.querySelector("small");
    button.append(...[...head.childNodes].filter((node) => node !== note));
    button.addEventListener("click", () => sortBy(table, heads, column));
    head.prepend(button);
  });
}

function sortBy(table, heads, column) {
  const numeric = heads[column].classList.contains("number");
  const first = numeric ? "descending" : "ascending";
  const other = numeric ? "ascending" : "descending";
  const order = heads[column].getAttribute("aria-sort") === first ? other : first;
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", order);
  const sign = order === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  rows.sort((a, b) => {
    const x = a.cells[column].dataset.key;
    const y = b.cells[column].dataset.key;
    if (x === "" || y === "") return (x === "") - (y === ""); // what has no value stays last
    return sign * (numeric ? Number(x) - Number(y) : x.localeCompare(y, "en", { numeric: true }));
  });
  body.append(...rows);
}
