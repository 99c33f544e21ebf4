// What answers on a page: its theme, tables that sort and filter, figures whose marks tell and lead, copies and downloads.
(() => {
  'use strict';
  const root = document.documentElement;
  const byId = (id) => document.getElementById(id);
  const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];
  root.dataset.scripted = '';

  // ------------------------------------------------------------------------------------------------------- theme
  const theme = byId('theme');
  const kept = { get: () => { try { return localStorage.getItem('theme') ?? ''; } catch { return ''; } },
    set: (value) => { try { localStorage.setItem('theme', value); } catch { /* a page of a file may keep nothing */ } } };
  const show = () => { if (theme.value) root.dataset.theme = theme.value; else delete root.dataset.theme; };
  theme.value = ['light', 'dark'].includes(kept.get()) ? kept.get() : '';
  theme.addEventListener('change', () => { kept.set(theme.value); show(); });
  show();

  // ------------------------------------------------------------------------------------------------------ tables
  const inWords = new Intl.Collator('en', { numeric: true });

  /** What a cell is sorted by: a number, words, or null for nothing, which always comes last. */
  function sortedBy(row, column, number) {
    const cell = row.cells[column];
    const text = cell.dataset.sort ?? cell.textContent.trim();
    if (text === '') return null;
    return number ? Number(text) : text;
  }

  function sort(head) {
    const number = head.classList.contains('number');
    const first = number ? 'descending' : 'ascending';
    const order = head.ariaSort === first ? (number ? 'ascending' : 'descending') : first;
    for (const other of head.parentElement.cells) if (other.ariaSort) other.ariaSort = 'none';
    head.ariaSort = order;
    const body = head.closest('table').tBodies[0];
    const keys = new Map([...body.rows].map((row) => [row, sortedBy(row, head.cellIndex, number)]));
    const sign = order === 'ascending' ? 1 : -1;
    body.append(...[...body.rows].sort((one, other) => {
      const [a, b] = [keys.get(one), keys.get(other)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (number ? a - b : inWords.compare(a, b));
    }));
  }
  for (const head of all('thead th[aria-sort]')) head.querySelector('button').addEventListener('click', () => sort(head));

  function filter(name) {
    const words = (document.querySelector(`[data-filter="${name}"]`)?.value ?? '').toLowerCase().split(/\s+/).filter(Boolean);
    const flagged = document.querySelector(`[data-flagged="${name}"]`)?.checked;
    const rows = [...byId(name).tBodies[0].rows];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word)) || (flagged && !('isFlagged' in row.dataset));
    }
    document.querySelector(`[data-count="${name}"]`).value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  }
  for (const field of all('[data-filter]')) field.addEventListener('input', () => filter(field.dataset.filter));
  for (const box of all('[data-flagged]')) box.addEventListener('change', () => filter(box.dataset.flagged));

  /** A row that a link leads to is seen, whatever was filtered, and has the focus. */
  function reveal() {
    const row = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
    if (!row || row.tagName !== 'TR') return;
    if (row.hidden) {
      const name = row.closest('table').id;
      for (const field of all(`[data-filter="${name}"]`)) field.value = '';
      for (const box of all(`[data-flagged="${name}"]`)) box.checked = false;
      filter(name);
    }
    for (let part = row.closest('details'); part; part = part.parentElement.closest('details')) part.open = true;
    row.scrollIntoView({ block: 'center' });
    row.focus({ preventScroll: true });
  }
  addEventListener('hashchange', reveal);
  reveal();

  // ----------------------------------------------------------------------------------------------------- figures
  for (const part of all('.choice')) {
    const options = all(':scope > [data-option]', part);
    const select = part.querySelector('select');
    const choose = () => options.forEach((each) => { each.hidden = each.dataset.option !== select.value; });
    select.addEventListener('change', choose);
    choose();
  }

  const tip = byId('tip');
  let near = null; // the mark that the tip speaks of
  function tell(mark) {
    near?.classList.remove('near');
    near = mark;
    tip.hidden = !mark;
    if (!mark) return;
    mark.classList.add('near');
    tip.textContent = mark.getAttribute('aria-label');
    const place = mark.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const left = place.left + place.width / 2 - own.width / 2;
    tip.style.left = `${Math.max(4, Math.min(left, innerWidth - own.width - 4))}px`;
    tip.style.top = `${place.top - own.height - 8 > 0 ? place.top - own.height - 8 : place.bottom + 8}px`;
  }
  const REACH = 18; // pixels around the pointer in which a mark is meant
  function nearest(marks, event) {
    let [best, least] = [null, REACH];
    for (const mark of marks) {
      const box = mark.getBoundingClientRect();
      if (!box.width && !box.height) continue; // hidden
      const away = Math.hypot(event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2);
      if (away < least) [best, least] = [mark, away];
    }
    return best;
  }
  for (const figure of all('.plot .scroll > svg')) {
    const marks = all('.mark', figure);
    if (!marks.length) continue;
    const seen = () => marks.filter((mark) => !mark.closest('.off'));
    marks.forEach((mark, i) => { mark.setAttribute('tabindex', i ? -1 : 0); });
    const focus = (mark) => {
      for (const other of marks) other.setAttribute('tabindex', other === mark ? 0 : -1);
      mark.focus();
    };
    figure.addEventListener('pointermove', (event) => tell(nearest(marks, event)));
    figure.addEventListener('pointerleave', () => tell(null));
    figure.addEventListener('click', (event) => {
      const link = event.target.closest('.mark') ? null : nearest(marks, event)?.getAttribute('href');
      if (link) location.hash = link;
    });
    const box = figure.parentElement; // an svg that hears of the focus would be a stop of the keyboard itself
    box.addEventListener('focusin', (event) => tell(event.target.closest('.mark')));
    box.addEventListener('focusout', () => tell(null));
    figure.addEventListener('keydown', (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const shown = seen();
      const at = shown.indexOf(document.activeElement);
      if (event.key === 'Escape') tell(null);
      if (at < 0 || !(step || event.key === 'Home' || event.key === 'End')) return;
      event.preventDefault();
      focus(event.key === 'Home' ? shown[0] : event.key === 'End' ? shown.at(-1) : shown[(at + step + shown.length) % shown.length]);
    });
  }
  addEventListener('scroll', () => tell(null), { passive: true });

  // Buttons of a legend hide and show what bears their number in the same section.
  for (const button of all('.legend button')) {
    button.addEventListener('click', () => {
      const on = button.ariaPressed !== 'true';
      const place = button.closest('section') ?? document;
      for (const other of all(`.legend button[data-series="${button.dataset.series}"]`, place)) other.ariaPressed = on;
      for (const part of all(`[data-series="${button.dataset.series}"]:not(button)`, place)) part.classList.toggle('off', !on);
      for (const figure of all('.plot .scroll > svg', place)) {
        const [first] = all('.mark', figure).filter((mark) => !mark.closest('.off'));
        for (const mark of all('.mark', figure)) mark.setAttribute('tabindex', mark === first ? 0 : -1);
      }
    });
  }

  // ---------------------------------------------------------------------------------------- copies and downloads
  const say = (text) => { byId('said').textContent = text; };
  async function copy(button) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not allowed here: the text is selected, to be copied by hand
      getSelection().selectAllChildren(button.previousElementSibling);
      say('The text is selected; copy it with the keyboard.');
      return;
    }
    button.textContent = 'Copied';
    say('Copied');
    setTimeout(() => { button.textContent = 'Copy'; }, 1500);
  }
  for (const button of all('[data-copy]')) button.addEventListener('click', () => copy(button));

  async function save(name) {
    const packed = JSON.parse(byId('files').textContent)[name];
    const bytes = Uint8Array.from(atob(packed), (character) => character.charCodeAt(0));
    const content = await new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'))).blob();
    const link = document.createElement('a');
    link.href = URL.createObjectURL(content);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    say(`${name} is saved.`);
  }
  for (const button of all('[data-download]')) button.addEventListener('click', () => save(button.dataset.download));
})();
