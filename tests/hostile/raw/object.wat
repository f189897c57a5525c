;; The exports of an object, as the canonical ABI wants them. What stands before it in the module defines
;; $memory, $init, $read and $realloc.
(data (i32.const 1040) "raw")
(data (i32.const 1048) "0.1.0")
(data (i32.const 1056) "r\00a\00w\00")
(data (i32.const 1064) "0\00.\001\00.\000\00")

;; result<plugin-info>: ok, name, version, no features
(data (i32.const 2048) "\00\00\00\00" "\10\04\00\00" "\03\00\00\00" "\18\04\00\00" "\05\00\00\00" "\00\00\00\00" "\00\00\00\00")
;; the same with UTF-16 texts
(data (i32.const 2112) "\00\00\00\00" "\20\04\00\00" "\03\00\00\00" "\28\04\00\00" "\05\00\00\00" "\00\00\00\00" "\00\00\00\00")
;; result<list<node>>: ok, one node at 2304
(data (i32.const 2176) "\00\00\00\00" "\00\09\00\00" "\01\00\00\00")
;; node: empty path, no value; the bytes of a value begin at 2320
(data (i32.const 2304) "\00\00\00\00" "\00\00\00\00" "\00\00\00\00\00\00\00\00")

(export "memory" (memory $memory))
(export "cabi_realloc" (func $realloc))

(func (export "bailiwick:lifecycle/plugin@0.1.0#init") (param i32) (result i32) (call $init))
(func (export "bailiwick:lifecycle/plugin@0.1.0#health") (result i32) (i32.const 2560))
(func (export "bailiwick:mo/handler@0.1.0#classes") (result i32) (i32.const 2560))
(func (export "bailiwick:mo/handler@0.1.0#instances") (param i32 i32) (result i32) (i32.const 2560))
(func (export "bailiwick:mo/handler@0.1.0#create-instance") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2560))
(func (export "bailiwick:mo/handler@0.1.0#delete-instance") (param i32 i32 i32 i32) (result i32) (i32.const 2560))
(func (export "bailiwick:mo/handler@0.1.0#read") (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (call $read))
(func (export "bailiwick:mo/handler@0.1.0#apply") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2560))
(func (export "bailiwick:mo/handler@0.1.0#execute") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2560))
