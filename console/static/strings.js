// The words of the page, which the server has put into it.

const strings = JSON.parse(document.getElementById("strings").textContent);

/** The text of `table.key`, with {name} filled in from the values. */
export function t(key, values = {}) {
  const [table, name] = key.split(".");
  const text = strings[table]?.[name];
  if (text === undefined) throw new Error(`strings.toml has no ${key}`);
  return text.replace(/\{(\w+)\}/g, (whole, each) => (each in values ? String(values[each]) : whole));
}

/** What to do about an error, by its code. */
export function errorAdvice(code) {
  return strings.errors[code] ?? strings.errors.other;
}
