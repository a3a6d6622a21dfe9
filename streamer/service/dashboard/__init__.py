"""The live web page: one reader of Tiled, any number of viewers, and a page of plain JavaScript.

::

    Tiled --websocket, else polling--> Reader (one thread) --> Hub --websocket--> pages
      ^------------- images that somebody looks at ----------- PictureStore <--- pages

It only reads, and it never talks to the processor: viewers cost the processing nothing. Rows are
handed on as Tiled has them (float64, with their code tables); the pages make sense of them.
"""
