import { request } from "node:http";

/**
 * A unary call to one of our services over its HTTP port, in JSON: the supervisor does without the weight of gRPC.
 * @throws with the service's own words when the answer is an error.
 */
export function callJson<T>(httpPort: number, method: string, message: object, signal?: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = request(
      {
        host: "127.0.0.1",
        port: httpPort,
        path: `/${method}`,
        method: "POST",
        headers: { "content-type": "application/json" },
        agent: false,
        ...(signal && { signal }),
      },
      (response) => {
        let text = "";
        response.setEncoding("utf8");
        response.on("data", (chunk: string) => (text += chunk));
        response.on("error", reject);
        response.on("end", () => {
          if (response.statusCode === 200) resolve(JSON.parse(text) as T);
          else reject(new Error(`${method} answered ${response.statusCode}: ${text}`));
        });
      },
    );
    call.on("error", reject);
    call.end(JSON.stringify(message));
  });
}
