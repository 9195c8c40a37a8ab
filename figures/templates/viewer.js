// The attention viewer: draws what the page holds, or what the server says of a graph typed in.
{
  const data = JSON.parse(document.getElementById("viewer-data").textContent);
  const form = document.querySelector(".choose"), drawing = document.querySelector(".viewer .drawing"), pattern = document.querySelector(".viewer .pattern");
  const about = document.querySelector(".about"), told = document.querySelector(".told");
  const served = "served" in document.documentElement.dataset;
  const graphs = data.graphs;
  let chosen = 0;

  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const stops = [[247, 251, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]];
  const blue = (thousandths) => {
    const place = Math.min(thousandths, 999.9) / 250, low = Math.floor(place), share = place - low;
    return `rgb(${stops[low].map((channel, i) => Math.round(channel + share * (stops[low + 1][i] - channel)))})`;
  };
  const ink = (thousandths) => thousandths > 450 ? "#fff" : "#1a1d21";
  const share = (thousandths) => (thousandths / 1000).toFixed(2);

  const options = () => {
    form.elements.graph.replaceChildren();
    for (const group of [...new Set(graphs.map((graph) => graph.group))]) {
      const list = document.createElement("optgroup");
      list.label = group;
      graphs.forEach((graph, index) => { if (graph.group === group) list.append(new Option(graph.name, index)); });
      form.elements.graph.append(list);
    }
  };
  options();
  graphs[0].patterns.forEach((heads, layer) => heads.forEach((_, head) => {
    const name = `${layer}.${head}`, roles = ["reader", "pointer"].filter((role) => data.roles[role] === name);
    form.elements.head.append(new Option([name, ...roles].join(", the "), name, false, name === data.start));
  }));

  const roleOf = (vertex) => vertex === data.roles.target ? ", the target" : data.roles.anchors?.includes(vertex) ? ", an anchor" : "";
  const current = () => {
    const graph = graphs[form.elements.graph.value], [layer, head] = form.elements.head.value.split(".").map(Number);
    return { graph, matrix: graph.patterns[layer][head], n: graph.points.length };
  };

  const draw = () => {
    const { graph, n } = current();
    about.textContent = [
      `${graph.edges.length} edges, ${graph.planar ? "planar" : "not planar"}; the model gives planar a probability of ${graph.planar_probability}.`,
      graph.kind ? `Thick dashed edges: a subdivision of ${graph.kind}, which no planar graph holds.` : "Drawn without crossings.",
      graph.note ? `Counterexample: ${graph.note}.` : "", `graph6: ${graph.graph6}`,
    ].filter(Boolean).join(" ");
    const at = (vertex) => graph.points[vertex].map((value, i) => 24 + value * (i ? 282 : 292));
    const obstructs = new Set(graph.obstruction.map(String));
    drawing.replaceChildren(
      ...graph.edges.map(([i, j]) => {
        const [x1, y1] = at(i), [x2, y2] = at(j);
        return make("line", { x1, y1, x2, y2, class: obstructs.has(String([i, j])) ? "edge obstructs" : "edge" });
      }),
      ...graph.points.map((_, vertex) => {
        const [x, y] = at(vertex), group = make("g", { class: "vertex", tabindex: vertex === chosen ? 0 : -1, role: "button", "data-vertex": vertex });
        group.append(make("circle", { cx: x, cy: y, r: 16 }), make("text", { x, y: y - 1, "text-anchor": "middle", class: "number" }, vertex),
          make("text", { x, y: y + 10, "text-anchor": "middle", class: "share" }));
        return group;
      }));
    const cell = 296 / n, ticks = [];
    for (let i = 0; i < n; i++) {
      ticks.push(make("text", { x: 34 + (i + .5) * cell, y: 12, "text-anchor": "middle" }, i), make("text", { x: 28, y: 16 + (i + .5) * cell + 4, "text-anchor": "end" }, i));
    }
    const cells = [...Array(n * n).keys()].map((k) => make("rect", { x: 34 + (k % n) * cell, y: 16 + Math.floor(k / n) * cell, width: cell, height: cell, "data-cell": k }));
    pattern.replaceChildren(...ticks, ...cells, make("rect", { class: "row", x: 34, width: 296, height: cell }), make("rect", { class: "lit", width: cell, height: cell, visibility: "hidden" }),
      make("text", { x: 182, y: 326, "text-anchor": "middle" }, "attends to (key)"),
      make("text", { transform: "translate(10 164) rotate(-90)", "text-anchor": "middle" }, "vertex (query)"));
    shade(graph.vertex ?? graph.degrees.indexOf(Math.min(...graph.degrees)));
  };

  const shade = (query, key) => {
    const { graph, matrix, n } = current(), cell = 296 / n, row = matrix[query];
    chosen = query;
    drawing.querySelector(".ring")?.remove();
    for (const group of drawing.querySelectorAll(".vertex")) {
      const vertex = Number(group.dataset.vertex);
      group.querySelector("circle").setAttribute("fill", blue(row[vertex]));
      for (const text of group.querySelectorAll("text")) text.style.fill = ink(row[vertex]);
      group.querySelector(".share").textContent = share(row[vertex]);
      group.classList.toggle("chosen", vertex === query);
      group.setAttribute("tabindex", vertex === query ? 0 : -1);
      group.setAttribute("aria-pressed", vertex === query);
      group.setAttribute("aria-label", `vertex ${vertex}${roleOf(vertex)}, degree ${graph.degrees[vertex]}, gets ${share(row[vertex])} of vertex ${query}'s attention`);
      if (vertex === key) {
        const circle = group.querySelector("circle");
        drawing.append(make("circle", { class: "ring", cx: circle.getAttribute("cx"), cy: circle.getAttribute("cy"), r: 20 }));
      }
    }
    for (const rect of pattern.querySelectorAll("[data-cell]")) {
      const k = Number(rect.dataset.cell);
      rect.setAttribute("fill", blue(matrix[Math.floor(k / n)][k % n]));
    }
    pattern.querySelector(".row").setAttribute("y", 16 + query * cell);
    const lit = pattern.querySelector(".lit");
    lit.setAttribute("visibility", key === undefined ? "hidden" : "visible");
    if (key !== undefined) { lit.setAttribute("x", 34 + key * cell); lit.setAttribute("y", 16 + query * cell); }
    const most = row.indexOf(Math.max(...row)), to = key ?? most;
    told.textContent = `Head ${form.elements.head.value}: vertex ${query}${roleOf(query)}, of degree ${graph.degrees[query]}, gives ${key === undefined ? "most to" : ""} vertex ${to}${roleOf(to)}: ${share(row[to])}.`.replace("  ", " ");
  };

  form.elements.graph.addEventListener("change", draw);
  form.elements.head.addEventListener("change", () => shade(chosen));
  const vertexOf = (event) => event.target.closest?.(".vertex")?.dataset.vertex;
  for (const kind of ["pointerover", "focusin", "click"]) {
    drawing.addEventListener(kind, (event) => { const vertex = vertexOf(event); if (vertex !== undefined) shade(Number(vertex)); });
  }
  drawing.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const { n } = current();
    drawing.querySelector(`[data-vertex="${(chosen + step + n) % n}"]`).focus();
  });
  for (const kind of ["pointerover", "click"]) {
    pattern.addEventListener(kind, (event) => {
      const k = event.target.dataset.cell, { n } = current();
      if (k !== undefined) shade(Math.floor(k / n), k % n);
    });
  }
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!served) return;
    let answer;
    try {
      const reply = await fetch("graph", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text: form.elements.typed.value }) });
      answer = await reply.json();
    } catch {
      answer = { error: "the server does not answer; is it still running?" };
    }
    if (answer.error) { about.textContent = answer.error; return; }
    graphs.push(answer);
    options();
    form.elements.graph.value = graphs.length - 1;
    draw();
  });
  form.elements.graph.value = data.first;
  draw();
}
