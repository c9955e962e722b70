// Where the library is: the path that all of its addresses begin with (`web.root_path`, empty at the root of a
// host), and its address as others know it. The token says that a page of the library sends a request, where the
// browser does not say so itself.
const { root: path, origin, formToken } = document.documentElement.dataset;

export const root = path ?? "";
export const home = (origin || location.origin) + root;
/** Headers of each request that is not a GET. */
export const proof = formToken ? { "X-Form-Token": formToken } : {};
export const jsonHeaders = { "Content-Type": "application/json", ...proof };
