// Making elements: text always becomes text nodes, so that nothing that was stored can be markup.

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list") element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function options(select, values, { chosen = "", first = null } = {}) {
  const all = first === null ? values : [["", first], ...values];
  fill(select, ...all.map((each) => {
    const [value, text] = Array.isArray(each) ? each : [each, each];
    return make("option", { value, selected: value === chosen }, text);
  }));
}

// What is shown where there is nothing yet: what that means, and what to do about it.
export const empty = (title, ...told) => make("div", { className: "empty" }, make("strong", {}, title), make("p", {}, ...told));

// Says what is going on in a page's status line; an Error is shown as one.
export function say(line, message) {
  line.classList.toggle("error", message instanceof Error);
  line.textContent = message instanceof Error ? message.message : message;
}

export const percent = (share) => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`;
