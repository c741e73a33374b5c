"use strict";
// Whatever goes wrong is written where a test, or a reader of the page's source, finds it.
function complain(text) {
  const page = document.documentElement;
  page.dataset.errors = (page.dataset.errors ? page.dataset.errors + "; " : "") + text;
}
window.addEventListener("error", (event) => complain(event.message));
window.addEventListener("unhandledrejection", (event) => complain(String(event.reason)));
document.addEventListener("securitypolicyviolation", (event) =>
  complain(`refused ${event.blockedURI} (${event.violatedDirective})`));
