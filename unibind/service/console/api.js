// The server's API, as this page uses it. Every function rejects with an Error that says what to do.

let key = sessionStorage.getItem("unibind-key") ?? "";

export const hasKey = () => key !== "";

export function useKey(given) {
  key = given.trim();
  sessionStorage.setItem("unibind-key", key);
}

export async function ask(path, { method = "GET", json, form, signal } = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  if (json !== undefined) headers["Content-Type"] = "application/json";
  const body = form ?? (json === undefined ? undefined : JSON.stringify(json));
  let answer;
  try {
    answer = await fetch(path, { method, headers, body, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `unibind serve` still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  const message = told.error?.message ?? `The server answered ${answer.status}.`;
  const after = answer.headers.get("Retry-After");
  throw Object.assign(new Error(after ? `${message} Try again in ${after} s.` : message), { status: answer.status });
}

export const get = async (path, options) => (await ask(path, options)).json();
export const post = async (path, json, options) => (await ask(path, { ...options, method: "POST", json })).json();

// Pictures and sounds are fetched here, because an <img> cannot send a key.
export async function objectUrl(path, type) {
  const content = await (await ask(path)).arrayBuffer();
  return URL.createObjectURL(new Blob([content], { type }));
}

// A request whose part refers to the upload is sent as a form: one field for each of its own.
export function formOf(request, file) {
  const form = new FormData();
  for (const [name, value] of Object.entries(request)) form.append(name, typeof value === "string" ? value : JSON.stringify(value));
  form.append("upload", file, file.name || "pasted");
  return form;
}

export const postPart = async (path, request, file, options) =>
  file ? (await ask(path, { ...options, method: "POST", form: formOf(request, file) })).json() : post(path, request, options);

export const itemPath = (itemKey) => `/v1/items/${encodeURIComponent(itemKey)}`;
