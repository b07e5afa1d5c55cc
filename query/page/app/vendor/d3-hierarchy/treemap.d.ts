// The part of d3-hierarchy that the map uses.
export interface Node<T> { data: T; children?: Node<T>[]; value?: number; depth: number; x0: number; y0: number; x1: number; y1: number }
export function hierarchy<T>(data: T, children: (of: T) => T[] | undefined): Node<T> & { sum(value: (of: T) => number): Node<T> & { sort(order: (a: Node<T>, b: Node<T>) => number): Node<T> } }
export interface Treemap<T> {
  (root: Node<T>): Node<T>
  size(size: [number, number]): Treemap<T>
  round(round: boolean): Treemap<T>
  padding(of: (node: Node<T>) => number): Treemap<T>
  paddingInner(of: (node: Node<T>) => number): Treemap<T>
  paddingTop(of: (node: Node<T>) => number): Treemap<T>
}
export function treemap<T>(): Treemap<T>
