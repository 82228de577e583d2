// A seller's API that reads a path as any server may, and what it sells.
export const kContent = "THE-PAID-CONTENT";
export const kRoutes = `
[[route]]
match = "GET /paid/data"
price = "$0.001"
[[route]]
match = "/sold/*"
price = "$0.001"
[[route]]
match = "GET /sold/help"
price = "free"
[[route]]
match = "/echo/*"
price = "free"
[[route]]
match = "GET /*"
price = "free"
`;

// An upstream as lenient as they come: it finds the paid content under every spelling that some server
// out there accepts, so a gate that reads a path otherwise gives it away. To some a backslash is a slash and to
// others a character, and not all know parameters.
function pathsOf(url) {
  let path = url.replace(/^https?:\/\/[^/]*/i, "").split(/[?#]/)[0];
  try {
    path = decodeURIComponent(path);
  } catch {
    // It takes what it was given.
  }
  const paths = [];
  for (const [slashes, parameters] of [[true, true], [true, false], [false, true], [false, false]]) {
    const parts = [];
    for (const raw of (slashes ? path.replaceAll("\\", "/") : path).toLowerCase().split("/")) {
      const part = (parameters ? raw.split(";")[0] : raw).replaceAll("\0", "");
      if (part === "..") parts.pop();
      else if (part && part !== ".") parts.push(part);
    }
    paths.push(`/${parts.join("/")}`);
  }
  return paths;
}

// Whether it would hand out paid content for `url`.
export const findsPaid = (url) =>
  pathsOf(url).some((path) => path === "/paid/data" || (path.startsWith("/sold/") && path !== "/sold/help"));
