"use strict";
// Filters, links into filtered claims, numbers of cells, copying. Everything is readable without it.
{
  const form = document.querySelector(".filters");
  const cards = [...document.querySelectorAll(".card")];
  let only = null; // the claims of a node of a drawing, by id

  const chosen = (name) => [...form.querySelectorAll(`input[name=${name}]:checked`)].map((box) => box.value);
  const apply = () => {
    const verdicts = chosen("verdict"), evidence = chosen("evidence"), parts = chosen("part");
    const words = form.elements.find.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const card of cards) {
      const text = (card.querySelector(".head").textContent + card.querySelector(".said").textContent).toLowerCase();
      const fits = (!only || only.has(card.id.slice(6)))
        && (!verdicts.length || card.dataset.verdict.split(" ").some((verdict) => verdicts.includes(verdict)))
        && (!evidence.length || evidence.includes(card.dataset.evidence))
        && (!parts.length || card.dataset.part.split("|").some((part) => parts.includes(part)))
        && words.every((word) => text.includes(word));
      card.hidden = !fits;
      shown += fits;
    }
    form.querySelector("output").textContent = `${shown} of ${cards.length} shown`;
  };
  form.hidden = false;
  form.addEventListener("input", () => { only = null; apply(); });
  form.addEventListener("reset", () => { only = null; setTimeout(apply); });
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();

  const open = (card, yes = true) => { card.querySelector("details").open = yes; };
  const reveal = () => { // a link to a card or figure opens the card, and shows it where it is filtered away
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const card = place?.closest(".card");
    if (!card) return;
    open(card);
    if (card.hidden) { only = null; form.reset(); }
    setTimeout(() => { apply(); place.scrollIntoView(); });
  };
  addEventListener("hashchange", reveal);
  reveal();
  form.querySelector("[data-open]").addEventListener("click", () => cards.filter((card) => !card.hidden).forEach((card) => open(card)));
  form.querySelector("[data-close]").addEventListener("click", () => cards.forEach((card) => open(card, false)));
  addEventListener("beforeprint", () => cards.forEach((card) => open(card)));

  document.addEventListener("click", (event) => {
    const again = event.target.closest("a[href]");
    if (again && again.getAttribute("href") === location.hash) setTimeout(reveal);
    const about = event.target.closest("[data-claims]");
    if (about) {
      event.preventDefault();
      form.reset();
      setTimeout(() => {
        only = new Set(about.dataset.claims.split(" "));
        apply();
        document.getElementById("claims").scrollIntoView();
        const shown = cards.filter((card) => !card.hidden);
        if (shown.length === 1) open(shown[0]);
        shown[0]?.querySelector("summary").focus({ preventScroll: true });
      });
    }
    const copied = event.target.closest("[data-copy]");
    if (copied) copy(copied);
  });
  const copy = async (button) => {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
    } catch { // a file has no clipboard in some browsers
      const field = document.createElement("textarea");
      field.value = button.dataset.copy;
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
      button.focus();
    }
    say(`copied: ${button.dataset.copy}`);
  };

  const readout = document.getElementById("readout");
  const say = (text) => { readout.textContent = text; readout.hidden = !text; };
  const tell = (heat, row, column) => {
    const cells = JSON.parse(heat.dataset.cells);
    const [rows, ...rowNames] = JSON.parse(heat.dataset.rows), [columns, ...columnNames] = JSON.parse(heat.dataset.columns);
    row = Math.min(Math.max(row, 0), cells.length - 1);
    column = Math.min(Math.max(column, 0), cells[0].length - 1);
    heat.cell = [row, column];
    const value = cells[row][column];
    say(`${rows} ${rowNames[row] ?? row}, ${columns} ${columnNames[column] ?? column}: ${value ?? "no value"}`);
  };
  for (const heat of document.querySelectorAll(".heat[data-cells]")) {
    const image = heat.querySelector("img");
    image.addEventListener("pointermove", (event) => {
      const box = image.getBoundingClientRect(), cells = JSON.parse(heat.dataset.cells);
      tell(heat, Math.floor((event.clientY - box.top) / box.height * cells.length), Math.floor((event.clientX - box.left) / box.width * cells[0].length));
    });
    image.addEventListener("pointerleave", () => say(""));
    heat.addEventListener("keydown", (event) => {
      const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
      if (!step) return;
      event.preventDefault();
      const [row, column] = heat.cell ?? [0, 0];
      tell(heat, row + (heat.cell ? step[0] : 0), column + (heat.cell ? step[1] : 0));
    });
    heat.addEventListener("blur", () => say(""));
  }
}
