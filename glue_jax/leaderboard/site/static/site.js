'use strict';
// Sorting, searching and filtering of the tables. Without it every table is
// there, in the order of its scores. Text is only ever read and moved as text.

function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const now = head.getAttribute('aria-sort');
  const first = head.dataset.first;
  const turned = { ascending: 'descending', descending: 'ascending' };
  const next = now ? turned[now] : first;
  for (const cell of table.tHead.rows[0].cells) {
    cell.removeAttribute('aria-sort');
  }
  head.setAttribute('aria-sort', next);
  const sign = next === 'ascending' ? 1 : -1;
  const numeric = head.classList.contains('num');
  const keyed = Array.from(table.tBodies[0].rows, (row) => {
    const text = row.cells[column].dataset.value;
    return { row, text, value: text === '' ? NaN : Number(text) };
  });
  keyed.sort((a, b) => {
    // Missing values stay at the end, whatever the direction.
    if ((a.text === '') !== (b.text === '')) return a.text === '' ? 1 : -1;
    if (numeric) return sign * (a.value - b.value) || 0;
    return sign * a.text.localeCompare(b.text, 'en', { numeric: true });
  });
  table.tBodies[0].append(...keyed.map((item) => item.row));
}

function addSorting(table) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = head.textContent;
    if (head.title) button.title = head.title;
    button.addEventListener('click', () => sortBy(table, column));
    head.replaceChildren(button);
  });
}

function addFilters(tools, table) {
  const search = tools.querySelector('[data-search]');
  const lists = Array.from(tools.querySelectorAll('select'));
  const status = tools.querySelector('[data-status]');
  const rows = Array.from(table.tBodies[0].rows, (row) => ({
    row,
    text: row.textContent.toLowerCase(),
    names: (row.dataset.names || '').split('\n'),
    values: (row.dataset.filters || '').split('\n'),
  }));
  const update = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const { row, text, names, values } of rows) {
      const shown =
        words.every((word) => text.includes(word)) &&
        lists.every(
          (list) =>
            !list.value ||
            values[names.indexOf(list.dataset.name)] === list.value
        );
      row.hidden = !shown;
      count += shown;
    }
    status.textContent = `${count} of ${rows.length} shown`;
  };
  search.addEventListener('input', update);
  for (const list of lists) list.addEventListener('change', update);
  tools.hidden = false;
  update();
}

for (const table of document.querySelectorAll('table[id]')) addSorting(table);
for (const tools of document.querySelectorAll('.tools')) {
  addFilters(tools, document.getElementById(`table-${tools.dataset.for}`));
}
