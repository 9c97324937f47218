/** What goes wrong with one answer. */
export type Fault =
  /** Another status than the right one. */
  | { readonly kind: 'status'; readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  /** No answer, ever; the connection stays. */
  | { readonly kind: 'hang' }
  /** The connection breaks before an answer. */
  | { readonly kind: 'reset' }
  /** The connection breaks after so many bytes of the body. */
  | { readonly kind: 'cut'; readonly afterBytes: number }
  /** Nothing more comes after so many bytes of the body. */
  | { readonly kind: 'stall'; readonly afterBytes: number }
  /** After so many bytes of the body, the rest comes one byte a second. */
  | { readonly kind: 'trickle'; readonly afterBytes: number }
  /** The body's first byte is another. */
  | { readonly kind: 'corrupt' }
  /** Headers of a right answer are replaced, or with undefined left out. */
  | { readonly kind: 'headers'; readonly headers: Readonly<Record<string, string | undefined>> };

interface PlannedFault {
  readonly pattern: RegExp;
  readonly fault: Fault;
  readonly client: string | undefined;
  remaining: number;
}

/** Faults that wait for their requests. */
export class FaultPlan {
  private planned: PlannedFault[] = [];

  /**
   * @param pattern matched against `METHOD path`
   * @param times how many requests it happens to; 1 by default
   * @param client the address that they come from; any by default
   */
  add(pattern: RegExp, fault: Fault, times = 1, client?: string): void {
    this.planned.push({ pattern, fault, client, remaining: times });
  }

  clear(): void {
    this.planned = [];
  }

  /** The fault of this request, used up once. */
  take(method: string, path: string, from?: string): Fault | undefined {
    const match = this.planned.find(
      ({ pattern, client = from, remaining }) =>
        remaining > 0 && client === from && pattern.test(`${method} ${path}`),
    );
    if (match) match.remaining--;
    return match?.fault;
  }
}
