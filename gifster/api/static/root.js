// Where the library is: the path that all of its addresses begin with (`web.root_path`, empty at the root of a
// host), and its address as others know it.
const { root: path, origin } = document.documentElement.dataset;

export const root = path ?? "";
export const home = (origin || location.origin) + root;
