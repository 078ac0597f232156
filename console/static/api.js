// Calls to the console. Every one that changes something carries the session's CSRF token.

const csrf = document.documentElement.dataset.csrf;

/** A refusal; `code` names it. */
export class ApiError extends Error {
  constructor(code, message, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export async function call(method, path, body) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: method === "GET" ? {} : { "x-csrf-token": csrf } });
  } catch (error) {
    throw new ApiError("network", error.message, 0);
  }
  const record = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (!response.ok) throw refusal(record, response.status);
  return record;
}

export const get = (path) => call("GET", path);
export const post = (path, body) => call("POST", path, body);

/** Sends a file; `fetch` tells nothing of an upload's progress. Returns `{promise, abort}`. */
export function upload(file, onProgress) {
  const request = new XMLHttpRequest();
  const promise = new Promise((resolve, reject) => {
    request.open("POST", `/api/clips?name=${encodeURIComponent(file.name)}`);
    request.setRequestHeader("x-csrf-token", csrf);
    request.setRequestHeader("content-type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onload = () => {
      if (request.status < 300) resolve(request.response);
      else reject(refusal(request.response, request.status));
    };
    request.onerror = () => reject(new ApiError("network", "", 0));
    request.onabort = () => reject(new ApiError("aborted", "", 0));
    request.send(file);
  });
  return { promise, abort: () => request.abort() };
}

function refusal(record, status) {
  const error = record?.error ?? {};
  return new ApiError(error.code ?? "other", error.message ?? `HTTP ${status}`, status);
}
