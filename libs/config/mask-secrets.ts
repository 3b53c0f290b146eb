const mask = "****";

// The password runs to the last @ before a slash: people paste passwords with an unencoded @.
const urlPassword = /(\b[a-z][a-z0-9+.-]*:\/\/[^:@/\s"]*):[^/\s"]*@/gi;
const queryPassword = /([?&](?:password|sslpassword|token|secret|api_?key)=)[^&\s"]+/gi;

/** The text with the passwords of the URLs in it replaced by `****`. */
export function maskSecrets(text: string): string {
  return text.replace(urlPassword, `$1:${mask}@`).replace(queryPassword, `$1${mask}`);
}

/** The same for a value that should be one URL and may be a misspelt one: whatever stands where a password does goes. */
export function maskUrl(text: string): string {
  // An @ that is no user's was part of a password with an unencoded slash, or of something that is no URL at all.
  const understood = !text.includes("@") || (URL.parse(text)?.username ?? "") !== "";
  return understood ? maskSecrets(text) : text.replace(/:.*@/, `:${mask}@`);
}
